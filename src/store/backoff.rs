//! When a parked delivery is due again. A pure function of how often it was tried: no chance, so whoever reads the
//! inbox can tell what comes next.

use chrono::TimeDelta;

/// The longest wait.
pub const LONGEST_WAIT: TimeDelta = TimeDelta::hours(24);

/// How long a delivery waits after this many tries, the first receipt counted: 1 minute, 5 minutes, 30 minutes,
/// 2 hours, 6 hours, from then on 24 hours.
pub const fn wait_after(attempts: i32) -> TimeDelta {
    match attempts {
        ..=1 => TimeDelta::minutes(1),
        2 => TimeDelta::minutes(5),
        3 => TimeDelta::minutes(30),
        4 => TimeDelta::hours(2),
        5 => TimeDelta::hours(6),
        _ => LONGEST_WAIT,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_day() {
        let minutes: Vec<i64> = (1..=8)
            .map(|attempts| wait_after(attempts).num_minutes())
            .collect();
        assert_eq!(minutes, [1, 5, 30, 120, 360, 1440, 1440, 1440]);
        assert_eq!(wait_after(i32::MAX), wait_after(6));
        assert_eq!(wait_after(i32::MIN), wait_after(1));
    }
}
