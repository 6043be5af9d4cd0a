//! Reads a state page by page, where the page map says.

use futures_util::FutureExt;
use walferry::ltx::{Decompressor, Txid, decode_frame};
use walferry::replica::{MapWindow, Target};
use walferry::restore::{Damage, Error, map, plan_without};
use walferry::store::Store;

use super::content::Random;
use super::history::State;
use super::restoring::now;

/// A state by its page map, in windows of any length, each sent and read again.
pub fn mapped(store: &dyn Store, target: Target, random: &mut Random) -> Result<State, Error> {
    let plan = now(plan_without(store, target, Txid::ZERO, &Damage::default()))?;
    let (mut state, mut next, mut decompressor) = (State::new(), 1, Decompressor::default());
    loop {
        let end = next + random.below(9) as u32;
        let window = now(map(store, &plan, target, next..=end, 4))?;
        let window = MapWindow::decode(&window.encode()).unwrap();
        assert!(window.pages().all(|(pgno, ..)| (next..=end).contains(&pgno.0)));
        for (pgno, object, place) in window.pages() {
            assert_eq!(window.get(pgno), Some((object, place)));
            let range = place.offset..place.offset + u64::from(place.len);
            let frame = store.read(object, range).now_or_never().unwrap().unwrap();
            let mut page = vec![0; window.page_size.len()];
            decode_frame(&frame, pgno, &mut decompressor, &mut page).unwrap();
            state.push(page);
        }
        match window.next() {
            Some(pgno) => next = pgno.0,
            None => {
                assert_eq!(window.commit as usize, state.len());
                assert!(matches!(target, Target::Txid(txid) if txid == window.position.txid));
                return Ok(state);
            }
        }
    }
}
