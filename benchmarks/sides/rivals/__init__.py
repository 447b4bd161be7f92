"""Programs that run on the requirements of the rivals, in their own virtual environment: nothing of ours is imported there."""
