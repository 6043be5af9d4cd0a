//! Bounds the memory of all uploads of this isolate together.

use std::cell::RefCell;

use super::clock;
use super::failure::Failure;

/// Of an isolate's 128 MB, for uploads.
const CAPACITY: u64 = 48 << 20;
/// A client that hangs up takes its request's code with it, destructors included: a permit that shows no sign of
/// life for so long is void, if there is need.
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
    /// Gives up what the memory is used for, if that outlives its request.
    give_up: Option<Box<dyn FnOnce()>>,
}

/// The right to use some memory, while it lives.
#[derive(Debug)]
pub(super) struct Permit(u64);

/// Lets an upload in if there is room.
pub(super) fn enter(bytes: u64) -> Result<Permit, Failure> {
    enter_with(bytes, None)
}

/// The same for one that stays in memory between its requests: `give_up` ends it when its permit is void.
pub(super) fn enter_with(bytes: u64, give_up: Option<Box<dyn FnOnce()>>) -> Result<Permit, Failure> {
    let now = clock::now();
    let void = LEASES.with_borrow_mut(|leases| leases.void(bytes, now));
    // They may hold permits themselves.
    for lease in void {
        if let Some(give_up) = lease.give_up {
            give_up();
        }
    }
    LEASES.with_borrow_mut(|leases| {
        if !leases.has_room(bytes) {
            let message = "Too many uploads are under way here; try again in a moment.";
            return Err(Failure::passing("uploads_busy", message));
        }
        let number = leases.next;
        leases.next = leases.next.wrapping_add(1);
        leases.held.push(Lease {
            number,
            bytes,
            seen: now,
            give_up,
        });
        Ok(Permit(number))
    })
}

impl Leases {
    fn has_room(&self, bytes: u64) -> bool {
        let held = self.held.iter();
        held.fold(bytes, |sum, lease| sum.saturating_add(lease.bytes)) <= CAPACITY
    }

    /// Takes out what is void, if so many bytes more have no room.
    fn void(&mut self, bytes: u64, now: u64) -> Vec<Lease> {
        if self.has_room(bytes) {
            return Vec::new();
        }
        let is_void = |lease: &mut Lease| now.saturating_sub(lease.seen) >= LEASE_MS;
        self.held.extract_if(.., is_void).collect()
    }
}

impl Permit {
    /// Says that the upload goes on.
    pub(super) fn renew(&self) {
        let now = clock::now();
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
