"""Reading run directories: tables, plots and reports. Empty until the reports are built."""
