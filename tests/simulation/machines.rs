//! Faults of machines under load: clocks that are wrong, disks that are full, a primary that is lost for good.

mod clocks;
mod disk;
mod standby;
