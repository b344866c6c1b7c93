"""The last step of an update: the user's files, the index and the commit, all prepared aside before the first of them
changes. What it is about to do stands in a journal, so that a step which was killed is undone by the next command."""
