//! Worlds that stand still: nothing changes but by a cancel. There it can be said exactly what a run
//! decides, what it costs, and that a repeat of it changes nothing.
