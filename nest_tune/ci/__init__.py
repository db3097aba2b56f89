"""What a CI job holds on to: lock files, and the check of a new compile against one."""
