"""Building blocks of specs: networks, tasks, data sets."""
