"""The client of the bets protocol: uploads, single bets, winners, probes, and checks of files."""
