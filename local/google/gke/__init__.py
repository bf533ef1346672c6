"""The GKE API: names, the state of all clusters, and the routes."""
