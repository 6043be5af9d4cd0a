//! Bounds the memory of all uploads of this isolate together.

use std::cell::RefCell;

use worker::Date;

use super::failure::Failure;

/// Of an isolate's 128 MB, for uploads.
const CAPACITY: u64 = 48 << 20;
/// A client that hangs up takes its request's code with it, destructors included: a permit that shows no sign of
/// life for so long is void.
const LEASE_MS: u64 = 60_000;

thread_local! {
    static LEASES: RefCell<Leases> = const { RefCell::new(Leases { next: 0, held: Vec::new() }) };
}

struct Leases {
    next: u64,
    held: Vec<Lease>,
}

struct Lease {
    number: u64,
    bytes: u64,
    seen: u64,
}

/// The right to use some memory, while it lives.
#[derive(Debug)]
pub(super) struct Permit(u64);

/// Lets an upload in if there is room.
pub(super) fn enter(bytes: u64) -> Result<Permit, Failure> {
    let now = Date::now().as_millis();
    LEASES.with_borrow_mut(|leases| {
        leases
            .held
            .retain(|lease| now.saturating_sub(lease.seen) < LEASE_MS);
        let held = leases
            .held
            .iter()
            .fold(0u64, |sum, lease| sum.saturating_add(lease.bytes));
        if held.saturating_add(bytes) > CAPACITY {
            let message = "Too many uploads are under way here; try again in a moment.";
            return Err(Failure::passing("uploads_busy", message));
        }
        let number = leases.next;
        leases.next = leases.next.wrapping_add(1);
        leases.held.push(Lease {
            number,
            bytes,
            seen: now,
        });
        Ok(Permit(number))
    })
}

impl Permit {
    /// Says that the upload goes on.
    pub(super) fn renew(&self) {
        let now = Date::now().as_millis();
        LEASES.with_borrow_mut(|leases| {
            if let Some(lease) = leases.held.iter_mut().find(|lease| lease.number == self.0) {
                lease.seen = now;
            }
        });
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        LEASES.with_borrow_mut(|leases| leases.held.retain(|lease| lease.number != self.0));
    }
}
