"""The central of a lottery's bet intake: takes the agencies' bets, stores them, draws once, tells each its winners."""
