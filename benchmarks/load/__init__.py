"""The load generator: several processes that send frames made beforehand and wait for each answer."""
