"""When it moves: the Faust side of the bridge. Decides nothing about trust."""
