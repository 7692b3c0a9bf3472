//! Which of some places was used least recently.

/// No place.
const NONE: u32 = u32::MAX;

/// Places in the order of their last use, and whose sample is in each.
#[derive(Debug, Default)]
pub(super) struct Recency {
    /// What is in each place, by the number of the sample.
    samples: Vec<usize>,
    /// The place that was used just before each, and the one just after.
    before: Vec<u32>,
    after: Vec<u32>,
    /// The place that was used least recently, and the one used last.
    oldest: Option<u32>,
    newest: Option<u32>,
}

impl Recency {
    /// How many places there are.
    pub fn len(&self) -> usize {
        self.samples.len()
    }

    /// One place more for a sample, used just now.
    pub fn push(&mut self, sample: usize) -> u32 {
        let place = self.samples.len() as u32;
        self.samples.push(sample);
        self.before.push(NONE);
        self.after.push(NONE);
        self.append(place);
        place
    }

    /// A place was used just now.
    pub fn touch(&mut self, place: u32) {
        if self.newest != Some(place) {
            self.remove(place);
            self.append(place);
        }
    }

    /// Places from the one that was used least recently on.
    pub fn oldest_first(&self) -> impl Iterator<Item = u32> {
        let after = |&place: &u32| Some(self.after[place as usize]).filter(|&next| next != NONE);
        std::iter::successors(self.oldest, after)
    }

    /// Gives a place to another sample, used just now; the one that was there.
    pub fn replace(&mut self, place: u32, sample: usize) -> usize {
        self.touch(place);
        std::mem::replace(&mut self.samples[place as usize], sample)
    }

    fn remove(&mut self, place: u32) {
        let (before, after) = (self.before[place as usize], self.after[place as usize]);
        let known = |place: u32| Some(place).filter(|&place| place != NONE);
        match known(before) {
            Some(before) => self.after[before as usize] = after,
            None => self.oldest = known(after),
        }
        match known(after) {
            Some(after) => self.before[after as usize] = before,
            None => self.newest = known(before),
        }
    }

    fn append(&mut self, place: u32) {
        self.before[place as usize] = self.newest.unwrap_or(NONE);
        self.after[place as usize] = NONE;
        match self.newest {
            Some(newest) => self.after[newest as usize] = place,
            None => self.oldest = Some(place),
        }
        self.newest = Some(place);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Random;

    #[test]
    fn the_order_is_that_of_a_plain_list() {
        let (mut recency, mut plain) = (Recency::default(), Vec::new());
        let mut random = Random::new(&[7]);
        for step in 0..2000 {
            match random.below(4) {
                0 if plain.len() < 9 => {
                    let place = recency.push(step);
                    plain.push((place, step));
                }
                _ if plain.is_empty() => {}
                1 => {
                    let at = random.below(plain.len());
                    let (place, old) = plain.remove(at);
                    assert_eq!(recency.replace(place, step), old);
                    plain.push((place, step));
                }
                _ => {
                    let at = random.below(plain.len());
                    let used = plain.remove(at);
                    recency.touch(used.0);
                    plain.push(used);
                }
            }
            assert!(recency.oldest_first().eq(plain.iter().map(|(place, _)| *place)));
            assert_eq!(recency.len(), plain.len());
        }
    }
}
