"""The smallest closed system of equations that contains chosen observables."""
