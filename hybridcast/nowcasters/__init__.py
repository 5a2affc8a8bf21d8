"""nowcasters."""
