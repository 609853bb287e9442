"""Any recipe on a CPU in a minute: its data, rewards and algorithm with a tiny random model."""
