//! One sort for lists of anything: a sort of its own for each type is 4 kB of every WebAssembly file.

use std::cmp::Ordering;

/// Sorts by a key, stably.
pub(crate) fn sort_by_key<T: Clone, K: Ord>(items: &mut Vec<T>, key: impl Fn(&T) -> K) {
    let mut places: Vec<usize> = (0..items.len()).collect();
    sort_places(&mut places, &|one, other| {
        items.get(one).map(&key).cmp(&items.get(other).map(&key))
    });
    *items = places.iter().filter_map(|&at| items.get(at).cloned()).collect();
}

#[inline(never)]
fn sort_places(places: &mut [usize], compare: &dyn Fn(usize, usize) -> Ordering) {
    places.sort_unstable_by(|one, other| compare(*one, *other).then(one.cmp(other)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_keys_stay_in_their_order() {
        let mut items: Vec<(u8, usize)> = (0..100).map(|at| ((at * 37 % 10) as u8, at)).collect();
        let mut expected = items.clone();
        expected.sort_by_key(|&(key, _)| key);
        sort_by_key(&mut items, |&(key, _)| key);
        assert_eq!(items, expected);
    }
}
