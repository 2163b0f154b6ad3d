// The console of cm-exec dev. Each part draws itself when what it shows has changed; see store.js.

import { startCall } from "./call.js";
import { startChart } from "./chart.js";
import { startFunctions } from "./functions.js";
import { startHistory } from "./history.js";
import { startJob } from "./job.js";
import { startKeys } from "./keys.js";
import { startPanels } from "./panels.js";
import { startConnect } from "./connect.js";
import { changed, follow, followPlace } from "./store.js";
import { startTheme } from "./theme.js";
import { startViews } from "./views.js";

followPlace();
startTheme();
startFunctions();
startCall();
startConnect();
startChart();
startJob();
startHistory();
startPanels();
startViews();
startKeys();
changed("job", "functions", "queue");
follow();
