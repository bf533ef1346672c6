"""The fleet API: memberships, the state of every fleet, the routes."""
