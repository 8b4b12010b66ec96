//! What is due, as a pure function of the schedules and two instants.
