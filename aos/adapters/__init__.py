"""One SDK each, behind the ports."""
