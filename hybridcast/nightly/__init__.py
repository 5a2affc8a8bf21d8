"""The nightly run: last night's nowcasts of every region verified, stored and reported."""
