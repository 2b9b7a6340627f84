r"""Training a learned codec: one loop for every model, on one processor or several, that can stop and go on.

::

    recipe --> task: players (weights, optimiser), what a batch is, losses, validation, what is stored
                 |
    step number --> seed --> draw: which picture, where, mirrored?, λ          (the same on every machine)
                 |
                 v        for each player in turn:
    losses(batch) --> loss --> gradients --> mean over processes --> clip the norm --> optimiser, rate(step)
                 |
                 +--> moving averages (EMA) --> validation, checkpoint, and in the end weights and card

==============  ==============================================================================================
``recipe``      what is trained and how: a TOML file
``crops``       pictures on the device, and batches cut out of them
``tasks``       the losses of the course, and who has to lower them: rate–distortion, a prior alone
``loop``        the page that all of this is for: draw, step, average, validate, checkpoint
``team``        several processes that train together
``precision``   where sixteen bits are enough
``soap``        an optimiser
``run``         a whole run: signals, weights, card
==============  ==============================================================================================

**The loop knows players and losses, not families.** Another kind of training is another :class:`~.tasks.Task`: two
decoders, an adversary, a network without λ.

**Randomness without state.** All that is random in step t is drawn from generators that are seeded with (seed, t).
So a run that was stopped and resumed goes through the same random numbers as one that was not, there is no state of a
generator to keep, and the crops do not depend on how many processes share the work. On the CPU, with the same number
of threads, a resumed run gives the same weights to the last bit. (On a GPU some sums are taken in no fixed order.)

**A long run** leaves usable weights at every validation, so that nothing is lost with the machine: a new run can
``start`` from those, with ``first_step`` as its place in the schedule and a warm-up for its fresh optimiser.

Invariants: 10 steps, a stop and 10 more are the same as 20; a file is written whole or not at all; held-out pictures
are never trained on; the weights of a finished run are the ones that its card's last validation was made with; a model
whose loss the task does not know is refused.

References:
    Adam: Kingma, Ba, ICLR 2015, arXiv:1412.6980. Moving average: Polyak, Juditsky, SIAM J. Control and
    Optimization 30 (1992). Cosine: Loshchilov, Hutter, ICLR 2017, arXiv:1608.03983.
    One model for all λ: Cui et al., CVPR 2021, arXiv:2003.02012.

Taught in lesson 05.
"""

from .crops import Pack
from .loop import Trainer
from .recipe import TASKS, Recipe, read_recipe, recipe_from
from .run import CHECKPOINT, Run, train
from .tasks import Player, Task, rate_distortion_loss
from .team import Team, choose_device

__all__ = [
    "CHECKPOINT",
    "TASKS",
    "Pack",
    "Player",
    "Recipe",
    "Run",
    "Task",
    "Team",
    "Trainer",
    "choose_device",
    "rate_distortion_loss",
    "read_recipe",
    "recipe_from",
    "train",
]
