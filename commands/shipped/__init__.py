"""The commands we ship. They are loaded through the entry point group, like anybody's plugin; nothing imports them."""
