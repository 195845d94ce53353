"""What developers of the project run beside its tests."""
