"""What each command shows, laid out in blocks; `quantlevels.cli.render` writes them."""
