//! Lists of a few elements, which lie in the list itself: a program has very many of them, and copies of it are made
//! all the time.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;

/// Any number of elements, of which up to `N` take no memory of their own. It is read as a slice and never changes.
#[derive(Clone)]
pub struct SmallList<T, const N: usize>(Elements<T, N>);

#[derive(Clone)]
enum Elements<T, const N: usize> {
    /// The first so many of the array.
    Few(u8, [T; N]),
    Many(Box<[T]>),
}

impl<T: Copy + Default, const N: usize> Default for SmallList<T, N> {
    fn default() -> SmallList<T, N> {
        SmallList(Elements::Few(0, [T::default(); N]))
    }
}

impl<T, const N: usize> SmallList<T, N> {
    /// The elements.
    pub fn as_slice(&self) -> &[T] {
        match &self.0 {
            Elements::Few(length, elements) => &elements[..usize::from(*length)],
            Elements::Many(elements) => elements,
        }
    }
}

impl<T, const N: usize> Deref for SmallList<T, N> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        self.as_slice()
    }
}

impl<T: PartialEq, const N: usize> PartialEq for SmallList<T, N> {
    fn eq(&self, other: &SmallList<T, N>) -> bool {
        self.as_slice() == other.as_slice()
    }
}

impl<T: Eq, const N: usize> Eq for SmallList<T, N> {}

impl<T: Hash, const N: usize> Hash for SmallList<T, N> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_slice().hash(state);
    }
}

impl<T: fmt::Debug, const N: usize> fmt::Debug for SmallList<T, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_slice().fmt(f)
    }
}

impl<T: Copy + Default, const N: usize> From<&[T]> for SmallList<T, N> {
    fn from(elements: &[T]) -> SmallList<T, N> {
        let mut few = [T::default(); N];
        match few.get_mut(..elements.len()) {
            Some(place) => {
                place.copy_from_slice(elements);
                SmallList(Elements::Few(elements.len() as u8, few))
            }
            None => SmallList(Elements::Many(elements.into())),
        }
    }
}

impl<T: Copy + Default, const N: usize, const M: usize> From<[T; M]> for SmallList<T, N> {
    fn from(elements: [T; M]) -> SmallList<T, N> {
        elements.as_slice().into()
    }
}

impl<T: Copy + Default, const N: usize> From<Vec<T>> for SmallList<T, N> {
    fn from(elements: Vec<T>) -> SmallList<T, N> {
        if elements.len() > N {
            SmallList(Elements::Many(elements.into()))
        } else {
            elements.as_slice().into()
        }
    }
}

impl<T: Copy + Default, const N: usize> FromIterator<T> for SmallList<T, N> {
    fn from_iter<I: IntoIterator<Item = T>>(elements: I) -> SmallList<T, N> {
        let mut elements = elements.into_iter();
        let (mut few, mut length) = ([T::default(); N], 0);
        for (place, element) in few.iter_mut().zip(&mut elements) {
            *place = element;
            length += 1;
        }
        match (length == N).then(|| elements.next()).flatten() {
            None => SmallList(Elements::Few(length as u8, few)),
            Some(next) => SmallList(Elements::Many(few.into_iter().chain([next]).chain(elements).collect())),
        }
    }
}

impl<'a, T, const N: usize> IntoIterator for &'a SmallList<T, N> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;
    fn into_iter(self) -> std::slice::Iter<'a, T> {
        self.as_slice().iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_any_length_are_their_elements() {
        for length in 0..9 {
            let elements: Vec<u32> = (0..length).collect();
            let lists: [SmallList<u32, 4>; 3] =
                [elements.as_slice().into(), elements.clone().into(), elements.iter().copied().collect()];
            for list in &lists {
                assert_eq!(list.as_slice(), elements);
                assert_eq!(list, &lists[0]);
                assert_eq!(format!("{list:?}"), format!("{elements:?}"));
                assert_eq!(list.into_iter().sum::<u32>(), elements.iter().sum());
            }
            assert_ne!(lists[0], SmallList::from(&[7u32][..]));
        }
        assert!(SmallList::<u32, 2>::default().is_empty());
    }
}
