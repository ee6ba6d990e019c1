"""Files of made-up bets that look real, the same for the same seed on every machine and Python.

They are UTF-8 with CRLF and without a header. A row has one or two given names (seldom three), one family name, an
accent or ñ in three of ten, a document of eight digits, a birth from 1980 to 2004, and a number from 0 to 9999.
Only `Random.getrandbits` is used, because the sequence of other methods may change between versions of Python.
"""

from __future__ import annotations

import filecmp
import os
from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from pathlib import Path
from random import Random

from bets_protocol import ConfigError

_GIVEN_M = (
    "Agustin Alejandro Alvaro Andres Ariel Axel Bautista Benicio Benjamin Bruno Carlos Ciro Cristian Damian Daniel "
    "Dante David Diego Eduardo Elias Emanuel Emiliano Enzo Esteban Exequiel Ezequiel Fabricio Facundo Federico Felipe "
    "Fernando Francisco Franco Gabriel Genaro Gonzalo Guillermo Gustavo Hernan Ignacio Ivan Javier Jeremias Joaquin "
    "Jorge Jose Juan Julian Kevin Lautaro Leandro Leonel Lionel Lorenzo Lucas Luciano Luis Manuel Marcos Mariano "
    "Martin Mateo Matias Mauricio Maximiliano Miguel Nahuel Nicolas Oscar Pablo Pedro Ramiro Ramon Renzo Ricardo "
    "Rodrigo Roman Santiago Santino Sebastian Sergio Simon Thiago Tiziano Tobias Tomas Uriel Valentin Victor"
).split()
_GIVEN_F = (
    "Abigail Abril Agostina Agustina Ailen Alejandra Alma Ambar Ana Andrea Angela Antonella Ariana Ayelen Barbara "
    "Belen Bianca Brenda Camila Candela Carla Carolina Catalina Cecilia Celeste Clara Constanza Daiana Daniela "
    "Delfina Elena Emilia Eugenia Evelyn Fatima Fernanda Fiorella Florencia Francesca Gabriela Giuliana Guadalupe "
    "Isabella Jazmin Josefina Juana Julia Juliana Julieta Justina Karen Laura Lola Lourdes Lucia Luciana Ludmila "
    "Luisa Luna Magdalena Maite Malena Manuela Maria Mariana Martina Melina Mercedes Mia Micaela Milagros Milena "
    "Morena Nicole Noelia Olivia Oriana Paloma Paula Pilar Priscila Renata Rocio Romina Rosario Sabrina Sofia Tatiana "
    "Valentina"
).split()
_GIVEN_ACCENTED = "Ángel Belén Inés Iván Joaquín José Lucía Martín Nicolás Román Sofía Tomás".split()
_FAMILY = (
    "Acosta Aguirre Alonso Alvarado Andrade Aranda Arias Arrieta Avila Barrios Benavidez Blanco Borges Bravo Bustos "
    "Cabrera Campos Cardozo Carranza Carrizo Castillo Castro Cisneros Contreras Coronel Correa Cruz Delgado Duarte "
    "Escobar Esquivel Falcon Farias Ferrari Ferreyra Figueroa Flores Franco Fuentes Funes Gallardo Garay Godoy "
    "Gonzalez Guerra Herrera Ibarra Juarez Ledesma Leiva Lorca Luna Maidana Maldonado Mamani Medina Mendoza Miranda "
    "Molina Montenegro Morales Moreno Moyano Navarro Ojeda Olivera Ortega Ortiz Paz Peralta Pereyra Pinto Ponce "
    "Quiroga Quispe Ramos Reyes Rivera Rojas Roldan Romero Rosso Ruiz Salas Santana Sosa Soto Toledo Torres Valdez "
    "Valenzuela Varela Vargas Vega Velazco Vera Villalba Zambrano Zapata Zarate"
).split()
_FAMILY_ACCENTED = (
    "Agüero Álvarez Bermúdez Cáceres Chávez Córdoba Díaz Domínguez Fernández García Giménez Gómez Guzmán Hernández "
    "Ibáñez Jiménez León López Martínez Méndez Muñoz Núñez Ordóñez Páez Peña Pérez Ramírez Ríos Rodríguez Sánchez "
    "Suárez Vázquez Yáñez"
).split()

_FIRST_BIRTH = date(1980, 1, 1)
_BIRTH_DAYS = (date(2004, 8, 23) - _FIRST_BIRTH).days + 1
_FIRST_DOCUMENT, _DOCUMENTS = 20_000_000, 20_000_000
_NUMBERS = 10_000


def rows(agency: int, bets: int, seed: int) -> Iterator[str]:
    """The rows of one agency's file, without line ends.

    Args:
        agency: 1 to 255; each agency gets other people from the same seed.
        bets: how many rows.
        seed: 0 to 2**63 - 1.
    """
    random = Random(seed * 256 + agency)
    for _ in range(bets):
        first = " ".join(_given_names(random))
        last = _pick(random, _FAMILY_ACCENTED if _below(random, 100) < 25 else _FAMILY)
        document = _FIRST_DOCUMENT + _below(random, _DOCUMENTS)
        birth = _FIRST_BIRTH + timedelta(days=_below(random, _BIRTH_DAYS))
        yield f"{first},{last},{document},{birth.isoformat()},{_below(random, _NUMBERS)}"


def write_samples(folder: str, *, agencies: int, bets: int, seed: int, overwrite: bool = False) -> list[Path]:
    """Write `agency-1.csv` to `agency-N.csv` into `folder`, which is made if it is missing.

    A file appears whole or not at all. An existing file that differs is replaced only with `overwrite`: it may be real
    data.

    Returns:
        The paths, in the order of the agencies.

    Raises:
        ConfigError: a different file of that name exists, the folder has no name, or writing failed.
    """
    if not folder:
        raise ConfigError("DIR: '': expected the name of a folder")
    paths = [Path(folder) / f"agency-{agency}.csv" for agency in range(1, agencies + 1)]
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise _unwritable(folder, error) from error
    for agency, path in enumerate(paths, start=1):
        try:
            _write_one(path, rows(agency, bets, seed), overwrite=overwrite)
        except OSError as error:
            raise _unwritable(path, error) from error
    return paths


def _write_one(path: Path, lines: Iterator[str], *, overwrite: bool) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with partial.open("w", encoding="utf-8", newline="") as file:
            file.writelines(f"{line}\r\n" for line in lines)
        if path.exists() and not overwrite and not filecmp.cmp(partial, path, shallow=False):
            raise ConfigError(f"{path}: a different file is there already; --overwrite replaces it")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _unwritable(path: str | Path, error: OSError | ValueError) -> ConfigError:
    """The error for a failure to write. It names the target and not the temporary file beside it."""
    return ConfigError(f"{path}: cannot write it: {getattr(error, 'strerror', None) or error}")


def _given_names(random: Random) -> list[str]:
    names = _GIVEN_M if random.getrandbits(1) else _GIVEN_F
    shape = _below(random, 1000)
    count = 1 if shape < 285 else 2 if shape < 995 else 3
    chosen: list[str] = []
    while len(chosen) < count:
        name = _pick(random, names)
        if name not in chosen:
            chosen.append(name)
    if _below(random, 100) < 5:
        chosen[-1] = _pick(random, _GIVEN_ACCENTED)
    return chosen


def _pick(random: Random, choices: Sequence[str]) -> str:
    return choices[_below(random, len(choices))]


def _below(random: Random, end: int) -> int:
    """A number from 0 to end - 1, all equally likely."""
    bits = (end - 1).bit_length()
    while (number := random.getrandbits(bits)) >= end:
        pass
    return number
