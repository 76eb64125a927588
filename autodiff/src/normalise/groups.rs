//! Groups of values: where they lie, and which entries of γ and β they take.

use eigenlens_linalg::{Real, Write, reduce};

/// Which values of a tensor form a group, and which entry of γ and β belongs to each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Groups {
    /// How many groups.
    pub count: usize,
    /// Values of a group, M.
    pub len: usize,
    /// Channels of a group; each is a run of M / channels values.
    pub channels: usize,
    /// Length of γ and β. The groups take their channels in turn.
    pub all_channels: usize,
}

impl Groups {
    /// Group g.
    pub(super) fn of<'a, T>(&self, g: usize, data: &'a [T]) -> &'a [T] {
        &data[g * self.len..(g + 1) * self.len]
    }

    /// Group g, to write to.
    pub(super) fn of_mut<'a, T>(&self, g: usize, data: &'a mut [T]) -> &'a mut [T] {
        &mut data[g * self.len..(g + 1) * self.len]
    }

    /// The entries of γ or β that belong to group g.
    pub(super) fn entries<'a, T>(&self, g: usize, v: &'a [T]) -> &'a [T] {
        let first = g * self.channels % self.all_channels;
        &v[first..first + self.channels]
    }

    /// The same place in a table with one row of entries for each turn of the groups.
    pub(super) fn partial<'a, T>(&self, g: usize, table: &'a mut [T]) -> &'a mut [T] {
        &mut table[g * self.channels..(g + 1) * self.channels]
    }

    /// Sums such a table over its rows.
    pub(super) fn finish<T: Real>(&self, table: &[T], out: &mut [T], write: Write) {
        reduce::sum_rows(out, write, table, table.len() / self.all_channels);
    }

    pub(super) fn mean<T: Real>(&self, sum: T) -> T {
        sum * T::from_f64(1.0 / self.len as f64)
    }
}

/// to ← from, or +=.
pub(super) fn copy<T: Real>(from: &[T], to: &mut [T], write: Write) {
    match write {
        Write::Set => to.copy_from_slice(from),
        // Runs can be single values, for which a vector loop is dear.
        Write::Add if from.len() < 8 => to.iter_mut().zip(from).for_each(|(to, &x)| *to += x),
        Write::Add => reduce::axpy(T::ONE, from, to),
    }
}
