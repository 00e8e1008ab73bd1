"""The borough of each taxi zone, as TLC publishes it in its zone lookup."""

import numpy as np

NAMES = {
    "B": "Bronx",
    "E": "Newark",
    "K": "Brooklyn",
    "M": "Manhattan",
    "Q": "Queens",
    "S": "Staten Island",
    "-": "unknown",
}
# One letter a zone, a hundred zones a line; 264 and 265 mean unknown.
ZONES = (
    "EQBMSSQQQQKMMKQQKBQBKKSMKKQQKQBBKKKKKQKKMMMSMBBMKMBKQKKQQBBBKKKQKKKMBQKKQMMKKBMKBQQSKQMMKMKQQBQQKQSM"
    "QQMMMKMKSSKKMMSMQSBMQQKQMBMMQQQQKQQBMQQMMMMMQQBMKKMMMKKSQMBQMMMMKMBBBMQSQBQSKKQQKBBBBMSKKKQQQMKQQQBB"
    "QMQSQSQBMKMBBSQQKQQBSKQMKQKKMMMMMMBMMMMBBBMMSMBBMBSQQBKKKQBQMMM--"
)


def name_boroughs(zones: np.ndarray) -> np.ndarray:
    """Name the boroughs of taxi zones.

    Parameters
    ----------
    zones : ndarray of shape (n_rows,)
        Zone numbers from 1 to 265.

    Returns
    -------
    ndarray of shape (n_rows,), str
        ``unknown`` for the zones 264 and 265.
    """
    names = np.array([NAMES[letter] for letter in ZONES])
    return names[zones.astype(np.int64) - 1]
