"""The sample product: orders and profiles behind a guard, all data kept through the cell's records API."""
