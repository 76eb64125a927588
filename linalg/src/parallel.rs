//! Work on the pieces of a slice by as many threads as there are, with bits that don't depend on their number.

use faer::Par;

/// Values whose visit costs about as much as it does to wake a thread.
const LEAST: usize = 1 << 14;

/// Does both, at once if there are threads.
pub fn both(par: Par, a: impl FnOnce() + Send, b: impl FnOnce() + Send) {
    if par.degree() > 1 {
        rayon::join(a, b);
    } else {
        a();
        b();
    }
}

/// Calls `f(i, piece i)` for all pieces of `each` values (the last may be shorter), in any order; `work` is the number of
/// values that are visited in all, and decides whether other threads are worth it.
///
/// Each piece is handed out once and whole, so the result has the same bits for every `par`.
///
/// # Panics
/// If `each` is zero.
pub fn pieces<T: Send>(par: Par, work: usize, data: &mut [T], each: usize, f: &(impl Fn(usize, &mut [T]) + Sync)) {
    let leaf = match par {
        Par::Rayon(threads) if threads.get() > 1 && work >= LEAST => {
            // A few for each thread, as none of them is alone on its core.
            data.len().div_ceil(each).div_ceil(4 * threads.get())
        }
        _ => usize::MAX,
    };
    halves(data, 0, each, leaf, f);
}

/// Pieces from number `first` on, in halves as long as there are more than `leaf`.
fn halves<T: Send>(data: &mut [T], first: usize, each: usize, leaf: usize, f: &(impl Fn(usize, &mut [T]) + Sync)) {
    let count = data.len().div_ceil(each);
    if count <= leaf.max(1) {
        return data.chunks_mut(each).enumerate().for_each(|(i, piece)| f(first + i, piece));
    }
    let middle = count / 2;
    let (left, right) = data.split_at_mut(middle * each);
    rayon::join(|| halves(left, first, each, leaf, f), || halves(right, first + middle, each, leaf, f));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_piece_is_visited_once_by_any_number_of_threads() {
        for (len, each) in [(0, 3), (1, 3), (10, 3), (64, 1), (65, 8)] {
            let want: Vec<usize> = (0..len).map(|i| 1 + i / each).collect();
            for par in [Par::Seq, Par::rayon(1), Par::rayon(2), Par::rayon(5)] {
                let mut data = vec![0; len];
                pieces(par, LEAST, &mut data, each, &|i, piece| piece.iter_mut().for_each(|x| *x += 1 + i));
                assert_eq!(data, want, "{len} values in pieces of {each}");
            }
        }
    }
}
