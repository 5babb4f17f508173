"""Nothing below is a test: files that tests read, and the scripts that wrote them."""

collect_ignore_glob = ["*"]
