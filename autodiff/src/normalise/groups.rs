//! Groups of values: where they lie, how they are gathered and written back, and which entries of γ and β they take.

use eigenlens_linalg::{Real, Write, reduce};

use crate::channels::put;
use crate::op::Cx;

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
    /// Whether a group is strewn over the batch, one run for each sample.
    pub across: bool,
}

impl Groups {
    /// Where run b of strewn group g begins, and how long it is.
    fn run(&self, cx: &Cx, g: usize, b: usize) -> std::ops::Range<usize> {
        let run = self.len / cx.batch.max(1);
        let start = (b * self.count + g) * run;
        start..start + run
    }

    /// Group g as one slice, gathered into `buffer` if it is strewn.
    pub(super) fn fetch<'a, T: Real>(&self, cx: &Cx, g: usize, data: &'a [T], buffer: &'a mut [T]) -> &'a [T] {
        if !self.across {
            return &data[g * self.len..(g + 1) * self.len];
        }
        let run = (self.len / cx.batch.max(1)).max(1);
        if run == 1 {
            // Single values: a strided loop, where a copy of each as a slice would cost ten times as much.
            let column = data.iter().skip(g).step_by(self.count);
            buffer.iter_mut().zip(column).for_each(|(out, &x)| *out = x);
            return buffer;
        }
        for (b, out) in buffer.chunks_exact_mut(run).enumerate() {
            out.copy_from_slice(&data[self.run(cx, g, b)]);
        }
        buffer
    }

    /// Writes group g back.
    pub(super) fn store<T: Real>(&self, cx: &Cx, g: usize, group: &[T], data: &mut [T], write: Write) {
        if !self.across {
            return copy(group, &mut data[g * self.len..(g + 1) * self.len], write);
        }
        let run = (self.len / cx.batch.max(1)).max(1);
        if run == 1 {
            let column = data.iter_mut().skip(g).step_by(self.count);
            return column.zip(group).for_each(|(out, &x)| put(out, x, write));
        }
        for (b, part) in group.chunks_exact(run).enumerate() {
            copy(part, &mut data[self.run(cx, g, b)], write);
        }
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
