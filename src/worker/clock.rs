//! The time, as leases are measured by.

use worker::Date;

/// Unix milliseconds. Tests set it ahead, for they do not wait a minute.
pub(super) fn now() -> u64 {
    #[cfg(feature = "fault-points")]
    let ahead = super::fault_points::ahead();
    #[cfg(not(feature = "fault-points"))]
    let ahead = 0;
    Date::now().as_millis().saturating_add(ahead)
}
