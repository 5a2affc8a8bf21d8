"""Nowcasters, all of one protocol: persistence, advection, the scale filter, a skill-weighted blend, pysteps."""
