"""AWS on loopback: moto, and what moto does not do: run functions, watch metrics, refuse access."""
