"""What an operator touches, and how it is wired."""
