"""The parts of `bench.tabular`: data sets, splits, peers, single fits, statistics, report."""
