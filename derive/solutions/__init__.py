"""Solutions in closed form and in leading order, each verified before it is returned."""
