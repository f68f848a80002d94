"""Valid data of every sort that a command reads, as small as it can be; what hostile data is made from."""

from __future__ import annotations

from pathlib import Path

from fuzzing.case import Bad, Case

RESPOND = """id,time,value
1,0,30
1,28,12
1,56,4
1,84,0.1
1,112,0.1
2,0,55
2,28,50
2,56,48
2,84,80
2,112,90
"""
LISTED = "id,baseline,new_therapy_day,death_day,end_day\n1,30,,,200\n2,55,100,150,\n"
NCA = """id,time,value
a,1,100
a,7,9000
a,14,60000
a,21,30000
a,28,12000
a,60,900
a,90,60
b,2,80
b,11,40000
b,28,2000
b,56,49
"""
PATIENTS = "id,Kg,burden,dose\n1,0.01,50,450e6\n2,0.02,20,150e6\n3,0.015,80,50e6\n"
FIT = """id,time,output,value
1,7,transgene,9000
1,14,transgene,36000
1,28,transgene,6000
1,60,transgene,400
2,14,transgene,33000
2,28,transgene,5500
"""
PRIOR = "name,estimate,rse\nKexp_max,1.7,0.1\nKel_m,0.2,0.3\n"
RESPONSES = """id,dose,day,category,output,value
1,450e6,28,PR,,
1,450e6,90,VGPR,,
1,450e6,180,CR,,
2,150e6,28,SD,,
2,150e6,90,PD,,
3,450e6,28,,sbcma_change,-60
3,450e6,90,,transgene,<50
"""
FILES = {
    "respond.csv": RESPOND,
    "listed.csv": LISTED,
    "nca.csv": NCA,
    "patients.csv": PATIENTS,
    "fit.csv": FIT,
    "prior.csv": PRIOR,
    "responses.csv": RESPONSES,
}
TRIAL = ("trial", "--n", "4", "--dose", "150e6,450e6", "--no-pictures", "--jobs", "1")

# For every command, its smallest sensible call: arguments, then options by name.
TINY: dict[str, tuple[list[str], dict[str, str | None]]] = {
    "trial": ([], {"--n": "3", "--dose": "150e6", "--no-pictures": None, "--out": "out", "--jobs": "1"}),
    "simulate": (["bb2121_clinical"], {"--times": "0:30:10"}),
    "models": ([], {}),
    "show": (["bb2121_clinical"], {}),
    "judge": (["stored"], {}),
    "respond": (["respond.csv"], {}),
    "nca": (["nca.csv"], {}),
    "sweep": ([], {"--over": "burden=20,50", "--no-pictures": None, "--out": "out", "--n": "3"}),
    "dose-response": ([], {"--dose": "10e6,50e6", "--burden": "fixed", "--landmarks": "6", "--n": "4",
                           "--no-pictures": None, "--out": "out"}),
    "regimens": ([], {"--n": "4", "--no-retreat": None, "--no-pictures": None, "--out": "out"}),
    "sensitivity": (["bb2121_clinical"], {"--parameters": "Kg,Kel_e", "--method": "local", "--no-pictures": None,
                                          "--out": "out"}),
    "figure": ([], {}),
    "fit": (["bb2121_clinical", "fit.csv"], {"--estimate": "Kexp_max", "--starts": "1", "--profiles": "no",
                                             "--no-pictures": None, "--out": "out"}),
    "fit-responses": (["responses.csv"], {"--draws": "10", "--estimate": "Kkill_max", "--no-pictures": None,
                                          "--out": "out"}),
    "population": (["responses.csv"], {"--explore": "3", "--smooth": "2", "--estimate": "Kkill_max",
                                       "--no-pictures": None, "--out": "out"}),
    "plausible": ([], {"--trial": "crb401", "--n": "20", "--no-pictures": None, "--out": "out"}),
}  # fmt: skip


def written(folder: Path) -> None:
    """All valid files into a folder."""
    for name, content in FILES.items():
        (folder / name).write_text(content)


def stored(case: Case) -> None:
    """A stored trial, ``stored``, in the working folder."""
    call = case.run(*TRIAL, "--out", "stored")
    if call.code != 0:
        raise Bad(f"a small trial ended with {call.code}: {call.err}")


def words(command: str, arguments: list[str], options: dict[str, str | None]) -> list[str]:
    """A command line; ``--name=value``, so that no value is taken for an option."""
    given = [name if value is None else f"{name}={value}" for name, value in options.items()]
    return [command, *given, "--", *arguments]
