//! Where a test may end a tab: after each change of a file, and in the middle of each write. Only in builds with the feature
//! `fault-points`.
//!
//! A point is named `<file>.<change>:<count>`, as in `db.write_half:1`, the first write into the database of which only a
//! half was done. The worker's address has the one that is wanted as its fragment; with any fragment, all that are
//! reached are told to the console. At the wanted one nothing goes on, until the tab is killed.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::hint::spin_loop;

use wasm_bindgen::prelude::wasm_bindgen;

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(thread_local_v2, js_namespace = location, js_name = hash)]
    static FRAGMENT: String;

    #[wasm_bindgen(js_namespace = console)]
    fn log(message: &str);
}

thread_local! {
    static COUNTS: RefCell<BTreeMap<String, u32>> = const { RefCell::new(BTreeMap::new()) };
}

/// The change was made.
pub(super) fn reach(file: &str, change: &str) {
    let wanted = FRAGMENT.with(String::clone);
    let Some(wanted) = wanted.strip_prefix('#') else {
        return;
    };
    let point = format!("{file}.{change}");
    let count = COUNTS.with_borrow_mut(|counts| {
        let count = counts.entry(point.clone()).or_default();
        *count = count.saturating_add(1);
        *count
    });
    let point = format!("{point}:{count}");
    log(&format!("fault point {point}"));
    if point == wanted {
        loop {
            spin_loop();
        }
    }
}
