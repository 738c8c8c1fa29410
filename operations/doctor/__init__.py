"""What is wrong with a stack, the cause first, and what to do about it."""
