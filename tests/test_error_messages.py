"""A mistake is answered by one sentence that says what is wrong and what to type."""

import os
import shlex
import sqlite3
from contextlib import closing

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from servers import free_port

import bpexp
from bpexp.cli.screen import Screen
from bpexp.config.grammar import create_parser
from bpexp.data import data_file, load
from bpexp.data.file_settings import FileConfig
from bpexp.errors import suggestions, syntax
from bpexp.fields.checks import ConfigError, Widths
from bpexp.sweeps.grid.sub_sweeps import is_beyond_hydra

DEEP = f"hidden={'[' * 2000}{']' * 2000}"
SYNTAX = [
    ("-m lr=0.1, 1", 1, ["lr=0.1, has an empty value", "lists without spaces: lr=0.1,1."]),
    ("-m lr=0.1 ,1", 1, ["'lr=0.1 ,1' has a space in it", "lists without spaces: lr=0.1,1."]),
    ("-m lr=0.1 , 1", 1, ["'lr=0.1 , 1' has a space in it", "lists without spaces: lr=0.1,1."]),
    ("lr=0.1, seed=3", 1, ["lr has an empty value: type lr=0.1."]),
    ("-m seed=1 lr=1,,2", 1, ["lr has an empty value: type lr=1,2."]),
    ("lr = 0.1", 2, ["key=value without spaces: type lr=0.1."]),
    ("lr =0.1", 2, ["key=value without spaces: type lr=0.1."]),
    ("lr= 0.1", 1, ["key=value without spaces: type lr=0.1."]),
    ("lr 0.1", 2, ["key=value without spaces: type lr=0.1."]),
    ("epochs=3 lr 0.1", 1, ["key=value without spaces: type lr=0.1."]),
    ("lr==0.1", 1, ["key=value without spaces: type lr=0.1."]),
    ("lr:0.1", 1, ["key=value without spaces: type lr=0.1."]),
    ("lr: 0.1", 1, ["key=value without spaces: type lr=0.1."]),
    ("-m 'lr={0.1,0.2}'", 1, ["values are separated by commas: type lr=0.1,0.2."]),
    ("-m 'lr=(0.1, 0.2)'", 1, ["values are separated by commas: type lr=0.1,0.2."]),
    ("-m 'lr=0.1;0.2'", 1, ["values are separated by commas: type lr=0.1,0.2."]),
    ("lr:=0.1", 1, ["key=value without spaces: type lr=0.1."]),
    ("lr=", 1, ["lr has no value; type lr=VALUE."]),
    ("-m seed=1,2 lr=", 1, ["lr has no value; type lr=VALUE."]),
    ("lr", 2, ["lr has no value; type lr=VALUE."]),
    ("lr=1 0.1", 1, ["'0.1' has no key; settings are written key=value", "such as lr=0.1"]),
    ("'lr=0.1;epochs=3'", 1, ["holds 2 settings; separate them by spaces: lr=0.1 epochs=3."]),
    ("lr=0.1,epochs=3", 1, ["holds 2 settings; separate them by spaces: lr=0.1 epochs=3."]),
    ("'hidden=[8,4'", 1, ["hidden has a [ that is not closed: type 'hidden=[8,4]'."]),
    ("'hidden=8,4]'", 1, ["hidden has a ] that is not opened: type 'hidden=[8,4]'."]),
    ("'hidden=(8,4)'", 1, ["lists are written in brackets: type 'hidden=[8,4]'."]),
    ("hidden=[8, 4]", 1, ["has a space in it", "without spaces: 'hidden=[8,4]'."]),
    ("hidden=[8 4]", 1, ["has a space in it", "without spaces: 'hidden=[8,4]'."]),
    ('"lr=\'0.1"', 1, ["lr has a ' that is not closed: type lr=0.1."]),
    ("'lr=\"0.1'", 1, ['lr has a " that is not closed: type lr=0.1.']),
    ("-m 'seed=range(0,10'", 1, ["seed has a ( that is not closed: type 'seed=range(0,10)'."]),
    ("-m 'seed=range(0;3)'", 1, ["values are separated by commas: type 'seed=range(0,3)'."]),
    ("-m 'seed=range(0,' '10)'", 1, ["has a space in it", "without spaces: 'seed=range(0,10)'."]),
    ("-m 'lr=fourier(1,8,4)'", 1, ["fourier is not a function", "range(first,end,step)"]),
    ("-m 'lr=tags(log,interval(0.1,1))'", 1, ["type 'lr=tag(log,interval(0.1,1))'."]),
    ("-m 'hidden=int(intervl(2,8))'", 1, ["type 'hidden=int(interval(2,8))'."]),
    ("-m 'hidden=int(log(interval(2,8)))'", 1, ["type 'hidden=tag(log,int(interval(2,8)))'."]),
    ("-m 'lr=[range(1,3)]'", 1, ["ranges are written without brackets: type 'lr=range(1,3)'."]),
    ("-m 'lr=[logspace(-3,0,4)]'", 1, ["type 'lr=logspace(-3,0,4)'."]),
    ("'lr=[choice(1,3)]'", 1, ["ranges are written without brackets: type 'lr=choice(1,3)'."]),
    ("-m 'stop.tolerance=choice(null,0.1)'", 1, ["choice takes", "type stop.tolerance=null,0.1."]),
    ("-m 'lr=choice(logspace(-3,0,4))'", 1, ["choice takes", "type 'lr=logspace(-3,0,4)'."]),
    ("-m 'lr=range(1,2,3,4)'", 1, ["range(1,2,3,4) has no values for lr; use a list"]),
    ("-m 'lr=linespace(0,1,5)'", 1, ["linespace is not a function", "type 'lr=linspace(0,1,5)'."]),
    ("-m 'zp(lr=[1,2],hidden=[2,3])'", 1, ["zp is not a function", "'zip(lr=[1,2],hidden=[2,3])'"]),
    ("-m 'lr=geomspace(0.001,1,4)'", 1, ["type 'lr=logspace(-3,0,4)'."]),
    ("-m 'lr=np.linspace(0.1,1,4)'", 1, ["type 'lr=linspace(0.1,1,4)'."]),
    ("-m 'lr=logSpace(-3,0,7)'", 1, ["logSpace is not a function", "type 'lr=logspace(-3,0,7)'."]),
    ("-m 'lr=logspace[-3,0,7]'", 1, ["written with parentheses: type 'lr=logspace(-3,0,7)'."]),
    ("-m 'hidden=arange(2,8)'", 1, ["type 'hidden=range(2,8)'."]),
    ("-m 'lr=LogUniform(1e-3,1)'", 1, ["type 'lr=tag(log,interval(1e-3,1))'."]),
    ("-m 'lr=interval(1e-3,1,log)'", 1, ["type 'lr=tag(log,interval(1e-3,1))'."]),
    ("-m 'lr=tag(interval(1,2), log)'", 1, ["type 'lr=tag(log,interval(1,2))'."]),
    ("-m 'hidden=randint(2,8)'", 1, ["type 'hidden=int(interval(2,8))'."]),
    ("-m 'hidden=int(uniform(2,8))'", 1, ["uniform is not", "type 'hidden=int(interval(2,8))'."]),
    ("-m 'hidden=interval(2,8,2)'", 1, ["takes two limits: type 'hidden=range(2,8,2)'."]),
    ("-m 'lr=0.1,1 hidden=2'", 1, ["holds 2 settings; each is an argument: lr=0.1,1 hidden=2."]),
    ("-m 'lr=1 hidden=2 / lr=2'", 1, ["separated by |: type 'lr=1 hidden=2 | lr=2'."]),
    ("-m 'optimizer=adam, lr=1 | lr=2'", 1, ["optimizer has an empty value"]),
    ("-m 'optimizer=adam; lr=1 | lr=2'", 1, ["separated by spaces: type optimizer=adam."]),
    ("-m 'lr=1 | seed=range(0 3) lr=2'", 1, ["values are separated by commas"]),
    ("-m 'lr=1 hidden=2 |'", 1, ["Sub-sweeps are written in one argument as settings | settings"]),
    ("data.path=run=1/d.csv", 1, ["data.path needs quotes: type 'data.path=\"run=1/d.csv\"'."]),
    ("'data.target=petal width (cm)'", 1, ["type 'data.target=\"petal width (cm)\"'."]),
    ("'data.target=width(cm)'", 1, ["type 'data.target=\"width(cm)\"'."]),
    ("'data.inputs=[size (cm), b c]'", 1, ["type 'data.inputs=[\"size (cm)\",\"b c\"]'."]),
    ("'data.drop=[a[m]]'", 1, ["type 'data.drop=[\"a[m]\"]'."]),
    ("'data.separator=;'", 1, ["type 'data.separator=\";\"'."]),
    ("data.seperator=,", 1, ["data.seperator is not a key", "did you mean data.separator?"]),
    ("n_jobs=\u22121", 1, ["n_jobs=\u22121 has typographic characters: type n_jobs=-1."]),
    ("-m lr=0.1\uff0c1", 1, ["type lr=0.1,1."]),
    ("lr\uff1d0.1", 1, ["type lr=0.1."]),
    ("hidden=\u201c[8,4]\u201d", 1, ["type 'hidden=[8,4]'."]),
    ("data.path=\u201ca.csv\u201d", 1, ["type data.path=a.csv."]),
    ("\u2014help", 1, ["has a typographic dash: type --help."]),
    ("lr=0.1 \u2013m", 1, ["has a typographic dash: type -m."]),
    ("'data.path=a&b'", 1, ["type 'data.path=\"a&b\"'."]),
    ("data.path='~/d.csv'", 1, ["~ is not expanded in data.path: type data.path=/"]),
    (
        "data.path=run=1/d.csv 'data.target=petal width (cm)'", 1,
        ["type 'data.path=\"run=1/d.csv\"'; ", "type 'data.target=\"petal width (cm)\"'."],
    ),
    ("lr=0.1 report", 1, ["report is a command and comes first: bpexp report."]),
    ("data.csv", 1, ["type data=file data.path=data.csv data.target=COLUMN."]),
    ("DATA.CSV", 1, ["type data=file data.path=DATA.CSV data.target=COLUMN."]),
    ("explain lr", 2, ["lr has no value; type lr=VALUE."]),
    ("explain latest", 2, ["No runs in ./outputs yet."]),
    ("explain lr= 1", 2, ["key=value without spaces: type lr=1."]),
]  # fmt: skip
VALUES = [
    ("optimizer=[adam,momentum]", 1, ["or for a sweep bpexp -m optimizer=adam,momentum."]),
    ("data=[]", 1, ["data must be one option, got []."]),
    ("lr=0.1,1", 1, ["lr must be one value for a single run, got '0.1,1'; to sweep over it type "
                     "bpexp -m lr=0.1,1."]),
    ("hidden=8,4", 1, ["to sweep over it type bpexp -m hidden=8,4, for a list hidden=[8,4]."]),
    ("lr=0,01", 1, ["got '0,01'; to sweep over it type bpexp -m lr=0,01, for the number lr=0.01."]),
    ("epochs=10,000", 1, [", for the number epochs=10000."]),
    ("-m lr=0,01 seed=1,2", 1, ["got 0; type lr=0.01."]),
    ("hidden=[8,4,]", 1, ["hidden has an empty value: type 'hidden=[8,4]'."]),
    ("'lr=\"0.1\"'", 1, ["got '0.1'; type lr=0.1."]),
    ("'hidden=\"[3, 2]\"'", 1, ["got '[3, 2]'; type 'hidden=[3,2]'."]),
    ("lr=0.1+0.2j", 1, ["lr must be a finite number above 0, got '0.1+0.2j'."]),
    ("'seed=range(0,3)'", 1, ["has several values; to sweep over them add -m."]),
    ("-m 'lr=[0.1,1]'", 1, ["got [0.1, 1]; type -m lr=0.1,1."]),
    ("-m 'lr=0.1|1'", 1, ["got '0.1|1'; type -m lr=0.1,1."]),
    ("-m lr=1,2 seeds=10", 1, ["seeds must be auto, got 10; type 'seed=range(0,10)'."]),
    ("-m lr=1,2 seeds=auto 'seed=range(0,3)'", 1, ["for fixed seeds leave out seeds=auto."]),
    ("-m lr=1,2 budget.seconds=1.5h", 1, ["got '1.5h'; type budget.seconds=5400."]),
    ("-m 'lr=logspace(-3,0,4),5'", 1, ["got 'lr=logspace(-3,0,4),5'; several ranges are sub-"]),
    (
        "-m search=tpe 'hidden=int(interval(2.5,8.2))'", 1,
        ["must have whole numbers as limits", "type 'hidden=int(interval(3,8))'."],
    ),
    ("-m search=tpe 'hidden=int(interval(2.2,2.9))'", 1, ["'hidden=int(interval(2.2,2.9))'."]),
    ("-m lr=-1,1", 1, ["got -1."]),
    ("\u2013lr=1", 1, ["has a typographic dash: type lr=1."]),
    ("-m epochs=10 --config-dir conf lr=1", 1, ["bpexp -m --config-dir conf epochs=10 lr=1."]),
    ("-m 'optimizer=[adam,momentum]'", 1, ["bpexp -m optimizer=adam,momentum."]),
    ("-m 'lr=1 | seeds=auto'", 1, ["got seeds.name=null and seeds.name=auto; type one value, out"]),
    ("-m 'lr=logspace(-2,0,count=7)'", 1, ["count is not an argument", "logspace(-2,0,num=7)'."]),
    ("-m 'zip(lr=[1,2]hidden=[2,4])'", 1, ["type 'zip(lr=[1,2],hidden=[2,4])'."]),
    ("-m lr=1,2 budget.minutes=5", 1, ["did you mean budget.seconds?"]),
    ("-m 'hidden=[[2,4],[8]]'", 1, ["type -m 'hidden=[2,4],[8]'."]),
    ("-m search=tpe 'lr=tag(log,tag(foo,interval(1,2)))'", 1, ["must have no tag other than log"]),
    (
        "-m search=tpe optimizer=adam,momentum 'optimizer.momentum=interval(0.1,0.9)'", 1,
        ["a search takes no sub-sweeps: search each optimizer on its own."],
    ),
    ("-m search=tpe 'lr=interval(1,1)'", 1, ["got 'lr=interval(1,1)'; type lr=1."]),
    ("-m search=tpe,random lr=1,2", 1, ["search must be one value for all runs of a sweep, got"]),
    ("-m search=tpe lr=1,2 'search.trials=range(1,3)'", 1, ["search.trials must be one value"]),
    ("-m lr=1,2 tracking.tags.ä=x", 1, ["letters from a to z, digits, _, - and ., got 'ä';"]),
    ("-m lr=1,2 'tracking.tags.\"a b\"=x'", 1, ["got '\"a b\"'; from Python it may have spaces"]),
    ("-m lr=1,2 tracking.tags.mlflow.note.content=x", 1, ["no key that starts with mlflow. or bpe"
                                                         "xp., got 'mlflow.note.content'."]),
    ("-m lr=1,2 'tracking.tags={a:1}'", 1, ["typed one by one: tracking.tags.KEY=VALUE."]),
    ("stop.patience=none", 1, ["got 'none'; type stop.patience=null."]),
    ("optimizer.learning_rate=3", 1, ["did you mean lr?"]),
    ("data.test_size=0.2", 1, ["did you mean data.test_fraction?"]),
    ("model.loss=mse", 1, ["type model.loss=half_squared."]),
    ("tracking.tags=[a]", 1, ["must be a group of settings, such as tracking.tags.KEY=VALUE"]),
    ("reuse=ture", 1, ["got 'ture'; type reuse=true."]),
    ("batch_size=full", 1, ["got 'full'; type batch_size=null."]),
    ("n_jobs=all", 1, ["got 'all'; type n_jobs=-1."]),
    ("reuse=yes", 1, ["got 'yes'; type reuse=true."]),
    ("dry_run=1", 1, ["got 1; type dry_run=true."]),
    ("objective=acc", 1, ["got 'acc'; type objective=accuracy."]),
    ("-m lr=1,2 objective=val_loss", 1, ["type objective=lowest_validation_loss."]),
    ("data.file=t.csv", 1, ["data.file is not a key", "did you mean data.path?"]),
    ("--verison", 1, ["--verison is not an option; did you mean --version?"]),
    ("lr=10%", 1, ["got '10%'; type lr=0.1."]),
    ("lr=0.1s", 1, ["got '0.1s'; type lr=0.1."]),
    ("lr=1/10", 1, ["got '1/10'; type lr=0.1."]),
    ("epochs=1k", 1, ["got '1k'; type epochs=1000."]),
    ("epochs=1e4", 1, ["got 10000.0; type epochs=10000."]),
    ("'hidden=[8 4]'", 1, ["got ['8 4']; type 'hidden=[8,4]'."]),
    ("hidden=8x4", 1, ["got '8x4'; type 'hidden=[8,4]'."]),
    ("-m seed=0..3", 1, ["got '0..3'; type -m 'seed=range(0,4)'."]),
    ("stop=0.1", 1, ["stop must be a group of settings", "stop.loss"]),
    ("model.activation=ReLU", 1, ["got 'ReLU'; type model.activation=relu."]),
    ("optimizer=Adam", 1, ["optimizer must be one of adam, ", "did you mean optimizer=adam?"]),
    ("optimizer=SGD", 1, ["did you mean optimizer=gradient_descent?"]),
    ("data=spiral", 1, ["data must be one of breast_cancer, digits, encoder, file, iris, parity, "
                        "proben1, spirals, symmetry, xor, got 'spiral'; did you mean data=spira"]),
    ("data=mnist", 1, ["data must be one of", "data=file data.path=FILE data.target=COLUMN."]),
    ("data=./my.csv", 1, ["data=file data.path=my.csv data.target=COLUMN."]),
    ("data=MY.CSV", 1, ["data=file data.path=MY.CSV data.target=COLUMN."]),
    ("data=3", 1, ["data must be the name of a configuration (--help lists them), got '3'."]),
    ("data.bits=3", 1, ["data.bits is a setting of data=parity or symmetry; add data=parity."]),
    ("'optimizer={name:adam,beta1:0.8}'", 1, ["one by one: optimizer=NAME optimizer.SETTING="]),
    ("-m 'zip(stop=[{tol:1},{tol:2}],lr=[1,2])'", 1, ["one by one: stop.SETTING=VALUE"]),
    ("-m swep=mine", 1, ["swep is not a key of the configuration; did you mean sweep?"]),
    ("-m seed=auto lr=1,2", 1, ["got 'auto'; type seeds=auto."]),
    ("learning_rate=3", 1, ["learning_rate is not a key of the configuration; did you mean lr?"]),
    ("LR=3", 1, ["LR is not a key of the configuration; did you mean lr?"]),
    ("hiden=3", 1, ["hiden is not a key of the configuration; did you mean hidden?"]),
    ("+lr=3", 1, ["lr exists already; type lr=3 without the +."]),
    ("'lr=${foo}'", 1, ["Interpolation key 'foo' not found."]),
    ("hydra/launcher=nope", 1, ["hydra/launcher must be one of basic, bpexp"]),
    ("+x._target_=os.system", 1, ["x is not a key of the configuration"]),
    ("data._target_=os.system", 1, ["data._target_ is not a key of the configuration"]),
    (DEEP, 1, ["The settings are nested too deeply."]),
    ("-m 'seed=range(0,1000000000)'", 1, ["seed must have at most 1000000 values, got"]),
    ("-m 'seed=range(0,2000)' 'lr=range(1,1000)'", 1, ["at most 1000000 runs, got 1998000"]),
    ("-m 'lr=range(0,1,0)'", 1, ["lr must be a range of finite numbers with a step other than 0"]),
    ("-m 'lr=range(0,nan,1)'", 1, ["lr must be a range of finite numbers with a step other than"]),
    (f"tracking.experiment={'x' * 501}", 1, ["must be a text of at most 500 characters, got"]),
    ("tracking.experiment=\"'a\x1bb'\"", 1, ["must be a text without control characters, in "
                                             "UTF-8, got 'a\\x1bb'."]),
    ("hidden=100000000000000000000", 1, ["hidden must be a width of at most 1000000 or a list"]),
    ("batch_size=100000000000000000000", 1, ["batch_size must be a whole number of at most 1000"]),
    ("hydra.run.dir=/proc/x", 1, ["'/proc/x' cannot be used: No such file or directory."]),
    ("-m hydra.sweep.dir=/etc/hostname/x", 1, ["hydra.sweep.dir", "/etc/hostname is not a folder"]),
    ("explain lr=1,2", 2, ["lr must be one value, got 'lr=1,2'."]),
]  # fmt: skip
OPTIONS = [
    ("--lr 0.1", 1, ["--lr is not an option; settings have no dashes", "(lr=0.1), --help lists"]),
    ("--epochs=5", 1, ["--epochs=5 is not an option", "(epochs=5)"]),
    ("--n-jobs 2", 1, ["--n-jobs is not an option", "(n_jobs=2)"]),
    ("--learning-rate 0.1", 1, ["--learning-rate is not an option", "(lr=0.1)"]),
    ("--foo", 1, ["--foo is not an option", "--help lists them."]),
    ("-M lr=1,2", 1, ["-M is not an option; did you mean -m?"]),
    ("-v", 1, ["-v is not an option; did you mean --version?"]),
    ("-m=lr=1", 1, ["-m takes no value; type -m lr=1."]),
    ("--dry-run=true", 1, ["--dry-run takes no value; type --dry-run."]),
    ("ui --port abc", 2, ["--port must be a whole number, got 'abc' (bpexp ui --help)."]),
    ("lr=1 -m seed=1,2", 1, ["Options come before all settings: bpexp -m lr=1 seed=1,2."]),
    ("-m seeds=auto --dry-run lr=1,2", 1, ["settings: bpexp -m --dry-run seeds=auto lr=1,2."]),
    ("--cfg foo", 1, ["argument --cfg/-c: invalid choice: 'foo'"]),
    ("--config-name=foo", 1, ["Cannot find primary config 'foo'."]),
    ("explain --epochs 3", 2, ["bpexp explain does not take --epochs; did you mean --epoch?"]),
    ("runs --sweeps x", 2, ["bpexp runs does not take --sweeps; did you mean --sweep?"]),
    ("runs lr=0.1", 2, ["to filter type --filter 'params.lr = \"0.1\"'."]),
    ("runs -n -3", 2, ["argument -n: must be a whole number of at least 1, got '-3'"]),
    ("show", 2, ["the following arguments are required: RUN (bpexp show --help)."]),
]
COMMANDS = [
    ("run", 2, ["run is not a command; did you mean bpexp runs?"]),
    ("REPORT", 2, ["REPORT is not a command; did you mean bpexp report?"]),
    ("foo", 2, ["foo is not a command; the commands are ui, runs, show", "bpexp -m lr=0.1,1."]),
    ("help", 2, ["help is not a command; type bpexp --help."]),
    *((f"{command} {run}", 2, ["No runs in ./outputs yet. Start with: bpexp lr=0.1"])
      for command, run in (("report", ""), ("runs", ""), ("ui", ""), ("show", "x"),
                           ("compare", "x y"), ("resume", "x"), ("export", "x"),
                           ("reproduce", "--all"))),
    ("runs --uri sqlite:///a.db", 2, ["No runs in sqlite:////", "'tracking.uri=sqlite:////"]),
]  # fmt: skip


NOTATIONS = [
    # Decimal commas.
    ("-m search=tpe 'lr=interval(0,001,0,1)'", 1, ["points: type 'lr=interval(0.001,0.1)'."]),
    ("-m search=tpe 'lr=tag(log,interval(0,001,1))'", 1, ["'lr=tag(log,interval(0.001,1))'."]),
    ("-m search=tpe 'lr=interval(1,5,2,5)'", 1, ["points: type 'lr=interval(1.5,2.5)'."]),
    ("-m 'lr=range(0,1,0,5,0,1)'", 1, ["points: type 'lr=range(0.1,0.5,0.1)'."]),
    ("-m 'lr=linspace(0,1,0,5,5)'", 1, ["points: type 'lr=linspace(0.1,0.5,5)'."]),
    ("-m 'lr=choice(0,1,0,5)'", 1, ["with decimal points type lr=0.1,0.5."]),
    ("-m 'lr=0,1;0,5'", 1, ["decimals are written with points: type lr=0.1,0.5."]),
    ("-m 'lr=range(0,1;0,5;0,1)'", 1, ["points: type 'lr=range(0.1,0.5,0.1)'."]),
    ("-m learning_rate=0,1,0,5", 1, ["not a key of the configuration; did you mean lr=0.1,0.5?"]),
    ("-m learning_rate=1,1", 1, ["learning_rate is not a key of the configuration"]),
    ("-m 'zip(lr=[0,1,0,5],hidden=[2,4])'", 1, ["points type 'zip(lr=[0.1,0.5],hidden=[2,4])'."]),
    ("-m 'zip(lr=[0,1;0,5],hidden=[2;4])'", 1, ["type 'zip(lr=[0.1,0.5],hidden=[2,4])'."]),
    # Sequences in other notations.
    ("-m lr=0.1:1:0.1", 1, ["got '0.1:1:0.1'; type -m 'lr=range(0.1,1.1,0.1)'."]),
    ("-m seed=0:2:10", 1, ["type -m 'seed=range(0,12,2)'."]),
    ("-m seed=0:10:3", 1, ["type -m 'seed=range(0,10,3)'."]),
    ("-m 'seed=[0..9]'", 1, ["type -m 'seed=range(0,10)'."]),
    ("-m lr=0.1,0.2,...,1", 1, ["type -m 'lr=range(0.1,1.1,0.1)'."]),
    ("-m seed=1,...,10", 1, ["type -m 'seed=range(1,11)'."]),
    ("-m lr=0.1,0.2,\u2026,1", 1, ["typographic characters: type 'lr=range(0.1,1.1,0.1)'."]),
    ("-m lr=0.1..1", 1, ["'lr=linspace(0.1,1,10)'", "'lr=interval(0.1,1)' search=tpe."]),
    ("-m 'lr=from 0.1 to 1'", 1, ["'lr=linspace(0.1,1,10)'", "'lr=interval(0.1,1)' search=tpe."]),
    ("-m search=tpe lr=0.1..1", 1, ["between two numbers type 'lr=interval(0.1,1)'."]),
    ("-m search=tpe 'lr=[0.1,1]'", 1, ["between two numbers type 'lr=interval(0.1,1)'."]),
    ("-m search=tpe 'lr=interval(0.1..1)'", 1, ["commas: type 'lr=interval(0.1,1)'."]),
    ("-m search=tpe 'lr=interval(10^-3,1)'", 1, ["as 1e-3: type 'lr=interval(1e-3,1)'."]),
    ("-m 'lr=linspace(0.1:1:10)'", 1, ["by commas: type 'lr=linspace(0.1,1,10)'."]),
    ("-m lr=10^-3,10**-2", 1, ["are written as 1e-3: type lr=1e-3,1e-2."]),
    ("-m 'lr=0.1 or 1'", 1, ["type -m lr=0.1,1."]),
    ("-m 'seed=list(range(10))'", 1, ["list is not a function here: type 'seed=range(10)'."]),
    ("-m 'lr=np.array([0.1, 1])'", 1, ["np.array is not a function here: type lr=0.1,1."]),
    ("-m 'seed={range(0,10)}'", 1, ["without brackets: type 'seed=range(0,10)'."]),
    ("-m 'lr=[x/10 for x in range(10)]'", 1, ["a Python expression, which is not evaluated"]),
    ("-m 'lr=log(0.1,1)'", 1, ["type 'lr=tag(log,interval(0.1,1))'."]),
    ("-m 'hidden=interval(2,8,step=2)'", 1, ["takes two limits: type 'hidden=range(2,8,2)'."]),
    ("-m seeds=0,1,2", 1, ["seeds must be auto, got 0; type seed=0,1,2."]),
    ("-m 'seeds=range(10)'", 1, ["seeds must be auto, got 0; type 'seed=range(10)'."]),
    # Names of methods.
    ("-m search=hyperband lr=1,2", 1, ["type search=random search.brackets=3 search.halving=3"]),
    ("-m search=bohb lr=1,2", 1, ["type search=tpe search.brackets=3 search.halving=3"]),
    ("-m search=asha lr=1,2", 1, ["type search=random search.halving=3 search.min_epochs=200."]),
    ("-m search=tpe lr=1,2 n_trials=9", 1, ["did you mean search.trials?"]),
    # Brackets and separators of settings.
    ("-m 'zip([lr=0.1,1],[hidden=2,4])'", 1, ["type 'zip(lr=[0.1,1],hidden=[2,4])'."]),
    ("-m 'zip(lr=[0.1\u201a1],hidden=[2,4])'", 1, ["type 'zip(lr=[0.1,1],hidden=[2,4])'."]),
    ("-m lr=0.1\u201a1", 1, ["has typographic characters: type lr=0.1,1."]),
    ("-m 'data=\u201airis\u2018'", 1, ["has typographic characters: type data=iris."]),
    ("-m lr,hidden=0.1,2", 1, ["each setting has its own =: lr=0.1 hidden=2."]),
    ("-m '(lr=0.1,1)'", 1, ["without spaces: type lr=0.1,1."]),
    ("-m '{\"lr\": [0.1, 1]}'", 1, ["without spaces: type lr=0.1,1."]),
    ("-m 'lr: [0.1,1]'", 1, ["without spaces: type lr=0.1,1."]),
    ("-m 'lr=0.1,1&hidden=2,4'", 1, ["type -m lr=0.1,1 hidden=2,4."]),
]


@pytest.mark.parametrize(
    ("typed", "status", "words"), [*SYNTAX, *VALUES, *NOTATIONS, *OPTIONS, *COMMANDS]
)
def test_bad_input_is_reported_in_one_sentence_that_says_what_to_type(
    typed, status, words, inside, tmp_path
):
    done = inside(*shlex.split(typed))
    for text in words:
        assert text in done.stderr
    assert done.returncode == status
    assert done.stdout == ""
    assert done.stderr.startswith("bpexp: ")
    assert len(done.stderr.splitlines()) == 1
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(("typed", "words"), [(typed, words) for typed, _, words in SYNTAX])
def test_what_a_syntax_error_suggests_is_valid(typed, words):
    said = syntax.explain([text for text in shlex.split(typed) if text not in ("-m", "explain")])
    for suggestion in said.split("; "):
        _, marker, command = suggestion.rstrip(".").rpartition("type ")
        if marker and "VALUE" not in command and "COLUMN" not in command:
            for text in shlex.split(command):
                assert (
                    text.startswith("-")
                    or is_beyond_hydra(text)
                    or create_parser().parse_override(text)
                )


QUOTED = ["run=1/d.csv", 'a "b" [c].csv', "it's.csv", "a\\b (1).csv", "é&ü"]


@pytest.mark.parametrize("value", QUOTED)
def test_the_quotes_that_are_suggested_give_the_value_that_was_typed(value):
    said = syntax.explain([f"data.path={value}"])
    (typed,) = shlex.split(said.removeprefix("the value of data.path needs quotes: type ")[:-1])
    assert OverridesParser.create().parse_override(typed).value() == value


@pytest.mark.parametrize(
    "message",
    ["lr must be a finite number above 0, got 'fast'.", "epochs must be given; type epochs=EPOCHS.",
     "engine must be one of auto, numpy, compiled, got 'gpu'."],
)  # fmt: skip
def test_nothing_is_suggested_where_nothing_can_be_guessed(message):
    assert suggestions.with_suggestion(message) == message


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"optimizer": "Adam"}, "optimizer must be one of adam, .*; did you mean optimizer=adam"),
        ({"data": "mnist"}, "data must be one of .*; for your own table type data=file"),
        ({"data__bits": 3}, "data.bits is a setting of data=parity or symmetry; add data=parity"),
        ({"learning_rate": 3}, "learning_rate is not a key .*; did you mean lr"),
        ({"lr": [0.1, 1]}, r"lr must be one value .*; to sweep over it call bpexp.sweep\(lr=\[0.1"),
        ({"seed": range(3)}, r"seed must be one value .* call bpexp.sweep\(seed=range\(0, 3\)\)"),
    ],
)
def test_python_raises_the_same_sentences(settings, words):
    with pytest.raises(ConfigError, match=f"^{words}") as error:
        bpexp.train(**settings)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("arguments", "settings", "words"),
    [
        (["lr=loguniform(1e-3,1)"], {"search": "tpe"}, r"type 'lr=tag\(log,interval\(1e-3,1\)\)'"),
        ([], {"search": "tpe", "lr": "LogUniform(1e-3,1)"}, r"type 'lr=tag\(log,interval"),
        ([], {"lr": "logspace[-3,0,7]"}, r"type 'lr=logspace\(-3,0,7\)'"),
        ([], {"lr": "0.1,1"}, r"lr must be a list of values, got '0.1,1'; type lr=\[0.1,1\]"),
        (["optimizer=adam,momentum", "optimizer.momentum=0.5,0.9"], {}, "=adam | optimizer"),
        ([], {"optimizer": ["adam", "momentum"], "optimizer__momentum": 0.5}, "=adam | optim"),
        (["lr=1", "|", "lr=2"], {}, "Sub-sweeps are written in one argument"),
        (["lr=0.1, hidden=2 | lr=1"], {}, "lr has an empty value: type lr=0.1"),
        (["lr=0.1,1 hidden=2"], {}, "holds 2 settings"),
        ([], {"lr": "linspace(0,1,5)"}, r"got 0, a value of linspace\(0,1,5\); type other limits"),
        ([], {"search": "tp", "lr": "interval(1,2)"}, "search must be one of .* type search=tpe"),
    ],
)  # fmt: skip
def test_a_sweep_from_python_gets_the_hints_of_the_command_line(arguments, settings, words):
    with pytest.raises(ConfigError, match=words) as error:
        bpexp.sweep(*arguments, **settings)
    assert "\n" not in str(error.value)


@pytest.mark.usefixtures("a_store")
def test_a_run_of_another_experiment_is_found(inside, a_store):
    assert inside("seed=1", "epochs=5", "tracking.experiment=other").returncode == 0
    (run,) = bpexp.load_runs(experiment="other").run_id
    for wanted in (run, run[:8], "xor lr=0.1 hidden=2 seed=1"):
        shown = inside("show", wanted)
        assert shown.stdout.splitlines()[0].split()[-2] == run, shown.stderr
    assert "1 of 1 runs identical" in inside("reproduce", run[:8]).stdout
    # The default port may be in use.
    ui = ["ui", "x", "--port", str(free_port())]
    for command in (["runs"], ["show", "x"], ui, ["verify", "--all"], ["report", "x"]):
        missing = inside(*command, "--experiment", "othr")
        assert (missing.returncode, missing.stdout) == (2, "")
        sentence = "--experiment must be an experiment of this store, got 'othr'; it has"
        assert sentence in missing.stderr
        assert "'other'" in missing.stderr


@pytest.mark.usefixtures("a_store")
def test_a_deleted_experiment_is_named_with_the_command_that_restores_it(inside):
    assert inside("epochs=5").returncode == 0
    with closing(sqlite3.connect("outputs/mlflow.db")) as db, db:
        db.execute("UPDATE experiments SET lifecycle_stage = 'deleted' WHERE name = 'bpexp'")
    for command in (
        ["runs"],
        ["show", "latest"],
        ["report", "ab"],
        ["verify", "--all"],
        ["epochs=6"],
    ):
        refused = inside(*command)
        assert refused.returncode in (1, 2)
        assert "The experiment 'bpexp' is deleted; " in refused.stderr
        assert "mlflow experiments restore --experiment-id 1" in refused.stderr
    with pytest.raises(ConfigError, match="The experiment 'bpexp' is deleted"):
        bpexp.load_runs()


@pytest.mark.usefixtures("a_store")
def test_a_name_that_two_other_experiments_have_is_ambiguous(inside):
    for experiment in ("a", "b"):
        assert inside("seed=1", "epochs=5", f"tracking.experiment={experiment}").returncode == 0
    done = inside("show", "xor lr=0.1 hidden=2 seed=1")
    assert (done.returncode, done.stdout) == (2, "")
    assert "fits 2 runs of 'b', 'a'; add --experiment 'b' or give the id." in done.stderr


def test_a_long_value_is_shortened_in_the_message():
    with pytest.raises(ConfigError) as error:
        Widths()("hidden", ["x" * 10**6] * 1000)
    assert len(str(error.value)) < 10_000


def test_names_are_printed_literally(capsys):
    Screen(width=60).print("[/] [red]a :smile: \x1b[31m\x07")
    assert capsys.readouterr().out == "[/] [red]a :smile: \\x1b[31m\\x07\n"


def bad_table(path, **options):
    with pytest.raises(ConfigError) as error:
        load(FileConfig(name="file", path=str(path), target=("y",), **options))
    return str(error.value)


def test_rows_longer_than_the_header_are_refused(tmp_path):
    (tmp_path / "t.csv").write_text("a,y\n1,2,3\n4,5,6\n")
    assert "rows no longer than its header" in bad_table(tmp_path / "t.csv")


def test_duplicate_column_names_are_refused(tmp_path):
    arrays = [pa.array([1.0, 2.0])] * 3
    pq.write_table(pa.Table.from_arrays(arrays, names=["a", "a", "y"]), tmp_path / "t.parquet")
    assert "different columns, got 'a' twice" in bad_table(tmp_path / "t.parquet")


def test_a_column_name_with_control_characters_is_refused(tmp_path):
    (tmp_path / "t.csv").write_text("\x1b[2Ja,y\n1,2\n")
    assert "without control characters, got '\\x1b[2Ja'" in bad_table(tmp_path / "t.csv")


@pytest.mark.parametrize(
    "column", [np.array([1j, 2]), np.array([1, 2], "M8[s]"), np.array([1, 2], "m8[s]")]
)
def test_dates_and_complex_numbers_are_refused(tmp_path, column):
    np.savez(tmp_path / "t.npz", a=column, y=np.array([0.0, 1.0]))
    assert "must hold numbers in column 'a'" in bad_table(tmp_path / "t.npz")


def test_labels_without_an_order_are_refused(tmp_path):
    frame = pd.DataFrame({"a": [1.0, 2.0], "y": [[1], [2]]})
    frame.to_parquet(tmp_path / "t.parquet")
    assert "labels of one kind, numbers or texts" in bad_table(
        tmp_path / "t.parquet", task="classification"
    )


def test_too_many_classes_are_refused(tmp_path):
    np.savez(tmp_path / "t.npz", a=np.arange(5000.0), y=np.arange(5000.0))
    assert "at most 4096 classes, got 5000" in bad_table(tmp_path / "t.npz", task="classification")


def test_a_file_that_unpacks_to_more_than_memory_is_refused():
    with pytest.raises(ConfigError, match=r"a quarter of the memory .*got about 1000000\.0 GB"):
        data_file.check_size(10**15)


def test_inputs_that_cannot_be_standardized_are_refused(tmp_path):
    np.savez(tmp_path / "t.npz", a=np.array([1e200, -1e200]), y=np.array([0.0, 1.0]))
    assert "squares add up to a finite number" in bad_table(tmp_path / "t.npz", standardize=True)


@pytest.mark.parametrize("key", ["data.separator", "data.decimal"])
def test_a_comma_as_a_value_gets_its_quotes(key):
    assert f"""type '{key}=","'""" in syntax.explain([f"{key}=,"])


@pytest.mark.parametrize("port", ["0", "-1", "65536"])
def test_a_port_without_an_address_is_refused(port, inside, a_store):
    done = inside("ui", "--port", port)
    message = f"bpexp: --port must be a free port in 1..65535, got {port}.\n"
    assert (done.returncode, done.stderr) == (2, message)
