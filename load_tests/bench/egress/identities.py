"""National identifiers made by computing their check digits: digits of chance, a date where the scheme has one, and the form people write."""

from collections.abc import Callable
from random import Random
from typing import TypeAlias

from load_tests.bench.egress import elsewhere, europe

Make: TypeAlias = Callable[[Random], str]

NATIONAL: dict[str, tuple[str, Make]] = {
    "us.ssn": ("SSN", elsewhere.ssn), "br.cpf": ("CPF", elsewhere.cpf), "ca.sin": ("SIN", elsewhere.sin), "fi.hetu": ("henkilötunnus", europe.hetu),
    "se.personnummer": ("personnummer", europe.personnummer), "pl.pesel": ("PESEL", europe.pesel), "tr.tckimlik": ("T.C. kimlik no", elsewhere.tckimlik),
    "de.idnr": ("Steuer-ID", europe.steuer_id), "hr.oib": ("OIB", europe.oib), "be.nn": ("rijksregisternummer", europe.rijksregister),
    "no.fodselsnummer": ("fødselsnummer", europe.fodselsnummer), "ee.ik": ("isikukood", europe.baltic), "lt.asmens": ("asmens kodas", europe.baltic),
    "gr.amka": ("ΑΜΚΑ", europe.amka), "nl.bsn": ("BSN", europe.bsn), "il.idnr": ("תעודת זהות", elsewhere.israel), "pt.nif": ("NIF", europe.portugal), "bg.egn": ("ЕГН", europe.egn),
    "cz.rc": ("rodné číslo", europe.rodne_cislo), "gb.nhs": ("NHS number", europe.nhs), "ua.rntrc": ("РНОКПП", europe.rnokpp), "ec.ci": ("cédula", elsewhere.ecuador),
    "is_.kennitala": ("kennitala", europe.kennitala), "in_.aadhaar": ("Aadhaar", elsewhere.aadhaar), "jp.in_": ("マイナンバー", elsewhere.mynumber), "ru.inn": ("ИНН", europe.inn),
    "ro.cnp": ("CNP", europe.cnp), "za.idnr": ("ID number", elsewhere.south_africa), "kr.rrn": ("주민등록번호", elsewhere.rrn), "th.pin": ("เลขบัตรประชาชน", elsewhere.thailand),
    "si.emso": ("EMŠO", europe.emso), "ch.ssn": ("AHV-Nummer", europe.ahv), "do.cedula": ("cédula", elsewhere.cedula), "ar.cuit": ("CUIL", elsewhere.cuit), "ru.snils": ("СНИЛС", europe.snils),
    "cn.ric": ("身份证号码", elsewhere.china), "es.dni": ("DNI", europe.dni), "es.nie": ("NIE", europe.nie), "cl.rut": ("RUT", elsewhere.rut), "ie.pps": ("PPS number", europe.pps),
    "it.codicefiscale": ("codice fiscale", europe.codice_fiscale), "fr.nir": ("numéro de sécurité sociale", europe.nir), "au.tfn": ("tax file number", elsewhere.tfn),
    "dk.cpr": ("CPR-nummer", europe.cpr), "in_.pan": ("PAN", elsewhere.pan), "sg.nric": ("NRIC", elsewhere.nric), "at.vnr": ("Sozialversicherungsnummer", europe.svnr),
}  # fmt: skip
"""Scheme → what people call it, and how one is made."""
