package web

import "vigil/internal/access"

// A route is one line of the interface: what openapi.yaml says of it, and the
// handler. The zero action is none that access grants: forgetting it refuses.
type route struct {
	method, path string
	action       access.Action
	camera       string // path value that names the camera: camera, stream, export or mark
	do           func(*call) error

	slow  bool // counts as a try to sign in
	quiet bool // does not count as use of the session
	head  bool // HEAD too

	body int64 // bytes, where maxBody is too little
}

// routes is the whole interface. A test compares it with openapi.yaml.
var routes = []route{
	{method: "GET", path: "/setup", action: access.Public, do: (*call).getSetup},
	{method: "POST", path: "/setup", action: access.Public, do: (*call).claim, slow: true},
	{method: "POST", path: "/setup/code", action: access.Console, do: (*call).renewSetupCode},
	{method: "GET", path: "/password-rules", action: access.Public, do: (*call).getPasswordRules},
	{method: "GET", path: "/session", action: access.Self, do: (*call).getSession, quiet: true},
	{method: "POST", path: "/session", action: access.Public, do: (*call).signIn, slow: true},
	{method: "DELETE", path: "/session", action: access.Self, do: (*call).signOut},
	{method: "POST", path: "/session/password", action: access.Self, do: (*call).changePassword, slow: true},
	{method: "PUT", path: "/session/language", action: access.Self, do: (*call).changeLanguage},
	{method: "GET", path: "/accounts", action: access.Accounts, do: (*call).listAccounts},
	{method: "POST", path: "/accounts/{account}/password", action: access.Accounts, do: (*call).resetPassword, slow: true},

	{method: "GET", path: "/cameras", action: access.See, do: (*call).listCameras},
	{method: "POST", path: "/cameras", action: access.Configure, do: (*call).addCamera},
	{method: "POST", path: "/cameras/demo", action: access.Configure, do: (*call).addDemo},
	{method: "POST", path: "/cameras/probe", action: access.Configure, do: (*call).probeCamera},
	{method: "GET", path: "/cameras/{camera}", action: access.See, camera: "camera", do: (*call).getCamera},
	{method: "PUT", path: "/cameras/{camera}", action: access.Configure, camera: "camera", do: (*call).changeCamera},
	{method: "DELETE", path: "/cameras/{camera}", action: access.Configure, camera: "camera", do: (*call).removeCamera},
	{method: "PUT", path: "/cameras/{camera}/recording", action: access.Record, camera: "camera", do: (*call).setRecording},

	{method: "GET", path: "/cameras/{camera}/days", action: access.Playback, camera: "camera", do: (*call).getDays},
	{method: "GET", path: "/cameras/{camera}/timeline", action: access.Playback, camera: "camera", do: (*call).getTimeline},
	{method: "GET", path: "/streams/{stream}/live.mp4", action: access.Live, camera: "stream", do: (*call).watchLive},
	{method: "GET", path: "/streams/{stream}/video.mp4", action: access.Playback, camera: "stream", do: (*call).watchStored},
	{method: "GET", path: "/streams/{stream}/picture.jpg", action: access.Playback, camera: "stream", do: (*call).getPicture},
	{method: "GET", path: "/streams/{stream}/snapshot.jpg", action: access.Live, camera: "stream", do: (*call).getSnapshot},

	{method: "GET", path: "/marks", action: access.See, do: (*call).listMarks},
	{method: "POST", path: "/cameras/{camera}/marks", action: access.Playback, camera: "camera", do: (*call).putMark},
	{method: "DELETE", path: "/marks/{mark}", action: access.Playback, camera: "mark", do: (*call).removeMark},
	{method: "POST", path: "/marks/{mark}/restore", action: access.Playback, camera: "mark", do: (*call).restoreMark},

	{method: "POST", path: "/cameras/{camera}/exports", action: access.Export, camera: "camera", do: (*call).startExport},
	{method: "GET", path: "/exports", action: access.See, do: (*call).listExports},
	{method: "GET", path: "/exports/{export}", action: access.Export, camera: "export", do: (*call).getExport},
	{method: "DELETE", path: "/exports/{export}", action: access.Export, camera: "export", do: (*call).removeExport},
	{method: "GET", path: "/exports/{export}/file", action: access.Export, camera: "export", do: (*call).downloadExport, head: true},

	{method: "GET", path: "/alerts", action: access.See, do: (*call).listAlerts},
	{method: "POST", path: "/alerts/{alert}/acknowledge", action: access.Acknowledge, do: (*call).acknowledgeAlert},
	{method: "GET", path: "/events", action: access.See, do: (*call).watchEvents, quiet: true},
	{method: "GET", path: "/audit", action: access.Audit, do: (*call).listAudit},
	{method: "POST", path: "/check", action: access.Audit, do: (*call).runCheck},
	{method: "GET", path: "/settings", action: access.See, do: (*call).getSettings},
	{method: "PUT", path: "/settings", action: access.Configure, do: (*call).changeSettings},
	{method: "POST", path: "/settings/export", action: access.Configure, do: (*call).exportSettings, slow: true},
	{method: "POST", path: "/settings/import", action: access.Configure, do: (*call).importSettings, slow: true, body: maxImport},
	{method: "GET", path: "/changes", action: access.Configure, do: (*call).listChanges},
	{method: "POST", path: "/changes/{change}/undo", action: access.Configure, do: (*call).undoChange},
	{method: "POST", path: "/changes/{change}/forget", action: access.Configure, do: (*call).forgetChange},
	{method: "GET", path: "/storage", action: access.Configure, do: (*call).getStorage},
	{method: "PUT", path: "/storage", action: access.Configure, do: (*call).chooseFolder},
	{method: "POST", path: "/storage/check", action: access.Configure, do: (*call).checkFolder},
	{method: "GET", path: "/layouts", action: access.See, do: (*call).getLayouts},
	{method: "PUT", path: "/layouts", action: access.See, do: (*call).changeLayouts},
	{method: "GET", path: "/status", action: access.See, do: (*call).getStatus, quiet: true},
	{method: "GET", path: "/certificate", action: access.Self, do: (*call).getCertificate},
	{method: "POST", path: "/certificate/renew", action: access.Configure, do: (*call).renewCertificate},
	{method: "POST", path: "/texts", action: access.Self, do: (*call).sayTexts},
	{method: "GET", path: "/clauses", action: access.Self, do: (*call).getClauses},
	{method: "GET", path: "/third-party", action: access.Self, do: (*call).getThirdParty},
	{method: "GET", path: "/openapi.yaml", action: access.Self, do: (*call).getDocument},
}
