"""What is installed, what can run here, and what would make the rest run. No torch.

machine   GPUs, processors, memory, disks, the hub
packages  the packages of the version table, and whether they fit
backends  every backend tried on a small recipe; first-party ones that are not installed
imports   whether their packages can be imported, each backend's in a process of its own
checkup   all of it: examine, and as plain data
template  what a chat template does to turns, through a backend's own rendering
advice    every rule of thumb on a recipe, also those that are content
"""
