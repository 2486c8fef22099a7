//! Sets of objects as bits, one for each object of each pack: a big set costs little, and adding to it next to nothing.

use gix::ObjectId;

use super::{Error, Location, Packs};

/// A set of small numbers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Bits {
    /// Empty until something is in it.
    words: Vec<u64>,
    count: usize,
}

impl Bits {
    /// Adds a number, all of which are below `size`; whether it is new.
    pub(crate) fn insert(&mut self, number: u32, size: u32) -> bool {
        if self.words.is_empty() {
            self.words = vec![0; (size as usize).div_ceil(64)];
        }
        let Some(word) = self.words.get_mut(number as usize / 64) else { return false };
        let bit = 1 << (number % 64);
        let new = *word & bit == 0;
        *word |= bit;
        self.count += usize::from(new);
        new
    }

    /// Takes a number out.
    pub(crate) fn remove(&mut self, number: u32) {
        if self.contains(number) {
            self.words[number as usize / 64] &= !(1 << (number % 64));
            self.count -= 1;
        }
    }

    /// Takes out all numbers of another set.
    fn remove_all(&mut self, others: &Self) {
        for (word, others) in self.words.iter_mut().zip(&others.words) {
            self.count -= (*word & others).count_ones() as usize;
            *word &= !others;
        }
    }

    pub(crate) fn contains(&self, number: u32) -> bool {
        self.words.get(number as usize / 64).is_some_and(|word| word >> (number % 64) & 1 == 1)
    }

    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// The numbers in it, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.words.iter().zip((0_u32..).step_by(64)).flat_map(|(word, first)| {
            let mut rest = *word;
            std::iter::from_fn(move || {
                let bit = (rest != 0).then(|| rest.trailing_zeros())?;
                rest &= rest - 1;
                Some(first + bit)
            })
        })
    }
}

/// A set of objects of some packs.
pub(crate) struct Marks<'a> {
    packs: &'a Packs,
    bits: Vec<Bits>,
}

impl<'a> Marks<'a> {
    pub(crate) fn new(packs: &'a Packs) -> Self {
        Self { packs, bits: vec![Bits::default(); packs.packs().len()] }
    }

    /// Adds the object at a position of the index of the pack at `pack`.
    pub(crate) fn add_at(&mut self, pack: usize, position: u32) {
        if let (Some(bits), Some(found)) = (self.bits.get_mut(pack), self.packs.packs().get(pack)) {
            bits.insert(position, found.len());
        }
    }

    /// Adds an object, which must be there.
    pub(crate) fn add(&mut self, id: &gix::oid) -> Result<(), Error> {
        let (pack, position) = self.oldest(id, self.bits.len()).ok_or_else(|| Error::Missing(id.to_owned()))?;
        self.add_at(pack, position);
        Ok(())
    }

    /// Takes an object out, whichever copy of it was added.
    pub(crate) fn remove(&mut self, id: &gix::oid) {
        for (pack, bits) in self.packs.packs().iter().zip(&mut self.bits).filter(|(_, bits)| bits.len() > 0) {
            if let Some(position) = pack.position(id) {
                bits.remove(position);
            }
        }
    }

    /// Takes out what is in `others`, a set of objects of the same packs. Both are settled.
    pub(crate) fn remove_all(&mut self, others: &Self) {
        for (bits, others) in self.bits.iter_mut().zip(&others.bits) {
            bits.remove_all(others);
        }
    }

    /// Whether the object is in it, whichever copy of it was added.
    pub(crate) fn contains(&self, id: &gix::oid) -> bool {
        let marked = self.packs.packs().iter().zip(&self.bits).filter(|(_, bits)| bits.len() > 0);
        marked.into_iter().any(|(pack, bits)| pack.position(id).is_some_and(|position| bits.contains(position)))
    }

    /// Pack and position of the oldest copy in the first `most` packs.
    fn oldest(&self, id: &gix::oid, most: usize) -> Option<(usize, u32)> {
        let mut packs = self.packs.packs().iter().take(most).enumerate();
        packs.find_map(|(at, pack)| Some((at, pack.position(id)?)))
    }

    /// Where the objects are: sorted. Each is there once if they are settled.
    pub(crate) fn locations(&self) -> Vec<Location> {
        let mut found = Vec::with_capacity(self.bits.iter().map(Bits::len).sum());
        for ((at, pack), bits) in self.packs.packs().iter().enumerate().zip(&self.bits) {
            let first = found.len();
            // Many are found by going through all entries in order, few by sorting them.
            if bits.len() > pack.len() as usize / 8 {
                let ranks = 0..pack.len() as usize;
                let marked =
                    ranks.filter_map(|rank| pack.at_rank(rank)).filter(|(_, position)| bits.contains(*position));
                found.extend(marked.map(|(offset, _)| Location { pack: at, offset }));
            } else {
                let offset = |position| Location { pack: at, offset: pack.offset_at(position) };
                found.extend(bits.iter().map(offset));
                found[first..].sort_unstable();
            }
        }
        found
    }

    /// Puts the oldest copy of each object in the place of those that were added.
    pub(crate) fn settle(&mut self) {
        if self.packs.known_disjoint() {
            return;
        }
        for at in 1..self.bits.len() {
            let bits = std::mem::take(&mut self.bits[at]);
            let mut kept = Bits::default();
            for position in bits.iter() {
                let pack = &self.packs.packs()[at];
                let id: ObjectId = pack.id_at(position).to_owned();
                match self.oldest(&id, at) {
                    Some((older, position)) => self.add_at(older, position),
                    None => drop(kept.insert(position, pack.len())),
                }
            }
            self.bits[at] = kept;
        }
    }
}

#[cfg(test)]
mod tests;
