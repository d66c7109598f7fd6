//! Defects that the run had before it was a state machine. Each has a scenario that shows it.
