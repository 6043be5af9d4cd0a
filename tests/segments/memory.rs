//! How much memory a test takes at its peak, on all threads of its process.
#![allow(unreachable_pub, reason = "it is a module of tests")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Counts the bytes that are allocated, and the most there were at once.
struct Counting;

static USED: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);
/// The counters are of the whole process.
static ALONE: Mutex<()> = Mutex::new(());

/// Only one test counts at a time.
pub fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let used = USED.fetch_add(layout.size(), Relaxed) + layout.size();
        MOST.fetch_max(used, Relaxed);
        // SAFETY: as the caller promised us.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        USED.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as the caller promised us.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// The memory in use when it was started.
pub struct Peak(usize);

impl Peak {
    pub fn start() -> Self {
        let used = USED.load(Relaxed);
        MOST.store(used, Relaxed);
        Self(used)
    }

    pub fn peak(&self) -> usize {
        MOST.load(Relaxed).saturating_sub(self.0)
    }
}
